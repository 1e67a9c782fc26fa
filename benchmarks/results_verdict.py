"""The verdict of a design in one line, short enough for a cell of the index, with the limits that its page states."""

from __future__ import annotations

from preprocess.terminal.plural import counted
from tune.comparison.conclusions import Conclusion
from tune.comparison.setting_analysis import Difference, SettingResult
from tune.rendering.table import points
from tune.stats.sign_flip import smallest_p
from tune.stats.summary import LEVEL


def verdict(conclusion: Conclusion) -> str:
    """The range of each arm's differences, how many are significant, and which of these may not generalise.

    Such as "percentage points against LIF: CLIF +0.1 to +1.7 (0 of 2 significant)".
    """
    found = {}
    for arm in conclusion.comparison.arms[1:]:
        mine = [(result, one) for result, one in conclusion.differences if one.arm.name == arm.name and one.values]
        if mine:
            found[f"{arm.label} {_span(mine)}"] = _decisions(conclusion, mine)
    only = "" if conclusion.converged else f"speed of learning at {conclusion.comparison.longest} epochs only; "
    if not found:
        return f"{only}no pair of runs"
    shared = set(found.values())
    listed = ", ".join(found) if len(shared) == 1 else ", ".join(f"{what} ({said})" for what, said in found.items())
    last = f" ({'each: ' * (len(found) > 1)}{shared.pop()})" if len(shared) == 1 else ""
    return f"{only}percentage points against {conclusion.comparison.arms[0].label}: {listed}{last}"


def _span(mine: list[tuple[SettingResult, Difference]]) -> str:
    means = [sum(one.values) / len(one.values) for _, one in mine]
    return " to ".join(dict.fromkeys((points(min(means)), points(max(means)))))


def _decisions(conclusion: Conclusion, mine: list[tuple[SettingResult, Difference]]) -> str:
    """What the tests show about one arm's differences."""
    corrected = [(one, p) for result, one in mine if (p := conclusion.adjusted(result, one)) is not None]
    clear = [one for one, p in corrected if p <= LEVEL]
    most = max(len(one.values) for _, one in mine)
    if smallest_p(most) * conclusion.family > LEVEL:
        return f"{counted(most, mine[0][1].pair)}, too few for a test"
    open_ended = [one for one in clear if one.may_not_generalise]
    if len(mine) == 1:
        said = f"{'significant, ' if clear else ''}p = {corrected[0][1]:.2g}"
        for one in open_ended:
            ends = " to ".join(map(points, one.crossed_interval or ()))
            said += f"; may not generalise: the interval over {one.unit}, {ends}, includes 0"
        return said
    said = f"{len(clear)} of {len(mine)} significant"
    return f"{said}, {len(open_ended)} of which may not generalise" if open_ended else said
