"""Raw recordings to event stores and frame caches; never loads torch or ray."""
