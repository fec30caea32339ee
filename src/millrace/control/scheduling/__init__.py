"""When what is due: slots of schedules, and what holds a run back or brings it sooner."""
