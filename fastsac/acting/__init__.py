"""Acting in environments: staging, collecting, evaluating, and what goes wrong there."""
