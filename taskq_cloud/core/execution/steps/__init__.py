"""The steps of the pipeline that have their own modules."""
