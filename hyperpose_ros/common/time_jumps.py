"""When a stamp that goes back is a message out of order, and when time itself has jumped."""

LONGEST_DELAY_NS = 500_000_000
"""A stamp that lies behind the newest one by at most this is a message out of order, by more a jump in time:
a bag that loops, a simulation that starts again. Nanoseconds."""
