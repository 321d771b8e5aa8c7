"""Training: schedules, state, compiled steps, the loop over ticks, and its report."""
