"""Data sets of static images: reading the files in which CIFAR-10, CIFAR-100 and Tiny ImageNet are published."""
