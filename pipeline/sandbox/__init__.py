"""A local server that speaks the stored-completions API as the recordings show it, with faults on demand.

``store`` is the model of the server and needs no socket; ``shape`` says where servers differ in what they do and
``house`` in how they word it; ``app`` numbers requests and lets ``faults`` act before ``routes`` answers honestly;
``answer`` and ``wire`` spoil and break what goes out; ``server`` puts it on a real socket; ``generate`` and
``recordings`` fill a store.
"""
