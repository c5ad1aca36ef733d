"""Cards, folders in the Hub's form, and uploads."""
