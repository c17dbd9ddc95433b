"""What only research needs: simulated populations, and what the method is compared with."""
