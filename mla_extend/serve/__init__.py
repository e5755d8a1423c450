"""The parts of the server: limits, the guard in front, the queue of queries, pictures, and the routes."""
