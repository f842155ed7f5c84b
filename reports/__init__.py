"""What it means: statistics, tables, figures, pages and comparisons, made from records alone."""
