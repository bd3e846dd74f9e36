"""What joins the labelling functions to the store."""
