"""What moves by itself: the runner that generates answers and the sweeper that deletes what has expired."""
