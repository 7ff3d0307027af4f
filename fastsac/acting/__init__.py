"""Acting in environments: others use `Collector`, `rollout` and the errors.  Knows no files and no run."""
