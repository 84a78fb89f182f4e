"""A local server that speaks the stored-completions API as the recordings show it, with faults on demand.

``store`` is the model of the server and needs no socket; ``app`` numbers requests and lets ``faults`` act before
``routes`` answers honestly; ``server`` puts it on a real socket; ``generate`` and ``recordings`` fill a store.
"""
