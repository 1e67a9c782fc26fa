"""What one inference of a network costs: operations and energy."""
