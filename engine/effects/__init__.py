"""What a model's predictions rest on over data as a whole: importances of columns, and curves of their effects."""
