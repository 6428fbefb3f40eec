"""Loads on a service that runs: clients, percentiles, accuracy, perf_analyzer."""
