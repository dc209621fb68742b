"""What scores and events are worth."""
