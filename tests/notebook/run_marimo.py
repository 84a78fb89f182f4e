"""Runs marimo's form in the notebook's environment, and tells what it made: rows by recipe, and how many charts."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("notebook", sys.argv[1])
module = module_from_spec(spec)
spec.loader.exec_module(module)
outputs, names = module.app.run()
rows = {name: len(value) for name, value in names.items() if type(value).__name__ == "DataFrame"}
charts = [one.to_dict() for one in outputs if hasattr(one, "to_dict") and "Chart" in type(one).__name__]
sys.stdout.write(json.dumps({"rows": rows, "charts": len(charts)}))
