"""Tables, figures and labels, independent of searches and comparisons."""
