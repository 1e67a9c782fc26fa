"""What can be said of a network besides its accuracy: operations, memory, energy."""
