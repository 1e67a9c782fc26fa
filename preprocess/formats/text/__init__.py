"""Events as text: lines of numbers, plain or compressed."""
