"""Who asks: one folder a dialect. A dialect knows the core; the core knows none of them."""
