"""``python -m dfmr_dask`` is ``dfmr``."""

from dfmr_dask.command.cli import main

if __name__ == "__main__":  # the processes of a local cluster import this file too
    main()
