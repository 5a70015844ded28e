"""MONAI Label app of CASR-Net: inference, datastore, scoring and strategies for angiograms.

Everything that computes on images is in the package ``casr_net`` of the bundle; here it is only given to MONAI Label.
"""
