"""What tasks cost on a cloud: calls and capacity (``model``), at list prices (``prices``), as a table (``report``)."""
