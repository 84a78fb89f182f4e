"""A notebook over the recipes, ready to run: ``cells`` says what is in it, ``marimo`` and ``jupyter`` write it down."""
