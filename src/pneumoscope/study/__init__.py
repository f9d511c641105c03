"""The study: recipes to bundles, bundles to the comparison table."""
