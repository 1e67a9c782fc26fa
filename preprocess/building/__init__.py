"""Build event stores from recordings, and frame caches from event stores."""
