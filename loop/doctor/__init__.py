"""`loop doctor`: every trap that can be probed, each as a named check with what it found and how to mend it."""
