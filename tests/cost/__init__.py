"""What tokens cost, compared with genai-prices, where the shipped prices come from."""
