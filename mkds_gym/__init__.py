"""Mario Kart DS as a Gymnasium environment."""
