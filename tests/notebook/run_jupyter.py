"""Runs Jupyter's form in the notebook's environment, and tells what each cell put out, by kind."""

import json
import sys

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], nbformat.NO_CONVERT)
nbformat.validate(notebook)
NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
outputs = [one for cell in notebook.cells if cell.cell_type == "code" for one in cell.outputs]
sys.stdout.write(json.dumps([one.get("data") or one for one in outputs]))
