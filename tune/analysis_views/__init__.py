"""Tables and figures of analyses, one module per analysis, for the command line and for reports."""
