"""Head models: what the sensors see of each source."""
