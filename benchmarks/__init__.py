"""Side-by-side runs against SpikingJelly and tonic; each checks that the results are equal before it times them."""
