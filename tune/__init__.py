"""Many runs: search, comparison, report."""
