"""Stands in for StackStorm's st2common where that is not installed: the few names that packs
import.

On the path of workers and sensors only. What is missing here is missing on purpose: code that needs
StackStorm's database or message bus cannot run in stormcell, and an ImportError says so at once.
"""
