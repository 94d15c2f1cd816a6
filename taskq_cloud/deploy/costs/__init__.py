"""The cost of tasks: billed units (``model``) at list prices (``prices``), written as a table (``report``)."""
