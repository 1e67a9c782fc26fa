"""The sections of a run's configuration: a frozen dataclass in each module, with the default of every field.

DESIGN: a field path is ``<section>.<field>``. `pipeline.config.run_config.RunConfig` puts the sections together and
has the fields of no section, such as `batch_size` and `seed`. Each section lists its own errors. The string below a
field is its help on the command line.
"""
