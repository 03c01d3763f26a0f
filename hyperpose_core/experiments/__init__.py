"""The paper's experiments and their yardsticks: repeated training runs, ablations, tables, retrieval."""
