"""Pure numbers: scores, errors, significance, robustness."""
