"""Which strengths: candidates, their Pareto front, and the race that decides among them (METHOD section 6)."""
