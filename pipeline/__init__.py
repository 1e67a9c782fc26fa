"""Networks, neurons, training and evaluation of one run; never loads ray."""
