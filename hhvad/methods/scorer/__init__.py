"""A trained anomaly scorer (the UR-DMU head of Holmes-VAU) on a vision encoder's frame vectors."""
