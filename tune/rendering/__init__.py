"""Tables, figures and labels; knows neither searches nor comparisons."""
