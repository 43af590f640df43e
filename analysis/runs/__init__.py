"""The runs of an experiment, and which of them may be compared.

Their parameters, tags and metrics as a DataFrame::

    from analysis.runs.run_table import read_runs
    from csg.tracking import get_default_tracking_uri

    frame = read_runs(experiment="glyphs", tracking_uri=get_default_tracking_uri("runs")).to_frame()
    frame.groupby("params.method.name")["metrics.target/test/accuracy"].mean()
"""
