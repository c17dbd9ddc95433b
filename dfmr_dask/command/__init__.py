"""The ``dfmr`` command: configurations, what each command does, what it leaves behind."""
