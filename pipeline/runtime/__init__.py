"""The device and the processes that compute."""
