"""What Label Studio keeps: label configs, the texts in tasks, and the results of annotations. Pure."""
