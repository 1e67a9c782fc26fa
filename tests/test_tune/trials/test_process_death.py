"""Why a trial's process died, in plain words, from what Ray 2.55 writes into the error file of a trial."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.config.run_config import RunConfig
from tune.trials.ledger import Ledger
from tune.trials.process_death import ProcessDeath, read_death

HEAD = """Failure # 1 (occurred at 2026-12-01_01-26-55)
The actor died unexpectedly before finishing this task.
\tclass_name: ImplicitFunc
\tactor_id: 0fcbb62d86f4079154bfb55501000000
\tpid: 14711
\tip: 127.0.0.1
"""
KILLED = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker "
    "unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was "
    "killed by the OOM killer due to high memory usage, (2) ray stop --force was called, or (3) the worker crashed.\n"
)
LOST = "The actor is dead because its node has died. Node Id: 0a1b2c\n\tthe actor's node was terminated unexpectedly.\n"
UNREACHABLE = (
    "The actor e688f740733dad02e288a68004000000 is unavailable: The actor is temporarily unavailable: RpcError: RPC "
    "error: Socket closed rpc_code: 14. The task may or may not have been executed on the actor.\n"
)
MEMORY = "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.\n"
RAISED = 'ray::ImplicitFunc.train() (pid=1)\n  File "a.py", line 1\nOSError: [Errno 28] No space left on device\n'


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (HEAD + KILLED, "it was killed, ran out of memory or crashed"),
        (HEAD + LOST, "its machine was lost"),
        (UNREACHABLE, "or its machine or the network did: it cannot be reached"),
        (MEMORY, "Ray killed it, because the machine's memory was nearly full"),
        # Unknown causes are those of Ray, in its last line.
        (RAISED, "OSError: [Errno 28] No space left on device"),
        ("x" * 1000, "x" * 300),
        ("", "Ray recorded no cause"),
    ],
    ids=["killed", "lost", "unreachable", "memory", "raised", "long", "none"],
)
def test_a_death_is_one_plain_line(text: str, cause: str):
    death = ProcessDeath(text)
    assert death.cause == cause
    # Only then are the next attempt's micro-batches smaller; the guesses about a killed process do not count.
    assert death.out_of_memory == (text == MEMORY)


def test_an_error_file_that_is_not_there_is_no_text(tmp_path: Path):
    for file in (None, str(tmp_path / "error.txt")):
        assert read_death(SimpleNamespace(error_file=file)) == ProcessDeath("")
    (tmp_path / "error.txt").write_text(KILLED)
    assert read_death(SimpleNamespace(error_file=str(tmp_path / "error.txt"))) == ProcessDeath(KILLED)


def test_every_text_is_kept_when_a_trial_starts_again(tmp_path: Path):
    ledger, config = Ledger(tmp_path), RunConfig()
    for text in (KILLED, LOST, "\ufffd"):
        path = ledger.write_death(config, text)
        ledger.reopen(config)
    assert ledger.folder / path == ledger.trial_folder(config) / "died.txt"
    kept = (ledger.folder / path).read_text("utf-8")
    assert KILLED in kept and LOST in kept


def test_where_the_text_cannot_be_written_its_last_line_is_left(tmp_path: Path):
    (tmp_path / "trials").write_text("")
    assert Ledger(tmp_path).write_death(RunConfig(), KILLED) is None
    assert ProcessDeath(HEAD + KILLED).last_line.startswith("The actor is dead because its worker process has died. ")
