"""The replay, and the learner that takes gradient steps from it."""
